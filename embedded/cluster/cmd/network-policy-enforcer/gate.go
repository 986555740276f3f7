package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

const (
	patience = 20 * time.Second // of the container runtime's call, while the enforcer is not up
	cniError = 100              // the first number that the CNI specification leaves to plugins
)

// announcement is what the network plugin tells of a pod.
type announcement struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       types.UID `json:"uid"`
	Address   string    `json:"address"`
}

// serve answers the plugin on a socket and everybody on /healthz.
func serve(ctx context.Context, e *enforcer, socket, healthz string) error {
	gate, health := http.NewServeMux(), http.NewServeMux()
	gate.HandleFunc("PUT /pod", handler(e.admit))
	gate.HandleFunc("DELETE /pod", handler(e.release))
	health.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := e.healthy(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	if err := os.RemoveAll(socket); err != nil {
		return err
	}
	for _, server := range []struct {
		network, address string
		mux              http.Handler
	}{{"unix", socket, gate}, {"tcp", healthz, health}} {
		listener, err := net.Listen(server.network, server.address)
		if err != nil {
			return err
		}
		go func() {
			if err := http.Serve(listener, server.mux); ctx.Err() == nil {
				slog.Error("server ended", "address", server.address, "error", err)
				os.Exit(1) // the supervisor starts it again
			}
		}()
	}
	return os.Chmod(socket, 0o600)
}

func handler(do func(context.Context, announcement) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), patience)
		defer cancel()
		var a announcement
		err := json.NewDecoder(r.Body).Decode(&a)
		if err == nil {
			err = do(ctx, a)
		}
		if err != nil {
			slog.Error("pod not handled", "method", r.Method, "namespace", a.Namespace, "name", a.Name, "error", err)
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}
}

// configuration is the part of the CNI plugin's input that is read here.
type configuration struct {
	CNIVersion string          `json:"cniVersion"`
	Socket     string          `json:"socket"`
	PrevResult json.RawMessage `json:"prevResult"`
}

// plug is the CNI plugin: on ADD it passes on the result of the plugin before it once the rules for the pod are in force.
func plug(command string, in io.Reader, out io.Writer) int {
	var config configuration
	err := json.NewDecoder(in).Decode(&config)
	switch {
	case command == "VERSION":
		fmt.Fprintln(out, `{"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}`)
		return 0
	case err != nil:
	case command == "ADD":
		if err = announce(http.MethodPut, config, patience); err == nil {
			_, err = out.Write(config.PrevResult)
		}
	case command == "DEL":
		// A pod must go also while the enforcer is away: its start finds out by itself.
		_ = announce(http.MethodDelete, config, time.Second)
	}
	if err != nil {
		failure := map[string]any{"cniVersion": config.CNIVersion, "code": cniError, "msg": "network-policy-enforcer: " + err.Error()}
		_ = json.NewEncoder(out).Encode(failure)
		return 1
	}
	return 0
}

func announce(method string, config configuration, bound time.Duration) error {
	body, err := describe(os.Getenv("CNI_ARGS"), config.PrevResult)
	if err != nil {
		return err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", config.Socket)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: bound}
	for deadline := time.Now().Add(bound); ; time.Sleep(100 * time.Millisecond) {
		request, err := http.NewRequest(method, "http://enforcer/pod", bytes.NewReader(body))
		if err != nil {
			return err
		}
		answer, err := client.Do(request)
		if err != nil {
			if time.Now().After(deadline) {
				return err
			}
			continue
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			said, _ := io.ReadAll(answer.Body)
			return fmt.Errorf("the rules of the pod are not in force: %s", bytes.TrimSpace(said))
		}
		return nil
	}
}

// describe takes the pod from the runtime's arguments and its address from the result of the plugin before.
func describe(arguments string, result json.RawMessage) ([]byte, error) {
	values := map[string]string{}
	for _, pair := range strings.Split(arguments, ";") {
		key, value, _ := strings.Cut(pair, "=")
		values[key] = value
	}
	a := announcement{Namespace: values["K8S_POD_NAMESPACE"], Name: values["K8S_POD_NAME"], UID: types.UID(values["K8S_POD_UID"])}
	var before struct {
		IPs []struct {
			Address netip.Prefix `json:"address"`
		} `json:"ips"`
	}
	if err := json.Unmarshal(result, &before); err != nil {
		return nil, fmt.Errorf("the result of the plugin before: %w", err)
	}
	for _, ip := range before.IPs {
		if ip.Address.Addr().Is4() {
			a.Address = ip.Address.Addr().String()
		}
	}
	if a.UID == "" || a.Address == "" {
		return nil, fmt.Errorf("the runtime names no pod, or the plugin before gave no IPv4 address: %q, %s", arguments, result)
	}
	return json.Marshal(a)
}
