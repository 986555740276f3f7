// Command cert-manager is every program of cert-manager in one file, picked by the name it is called by: the published module has
// their packages, but not their commands. Each is configured by the versioned file that the released program reads too.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	logsapi "k8s.io/component-base/logs/api/v1"

	logf "github.com/cert-manager/cert-manager/pkg/logs"
	utilfeature "github.com/cert-manager/cert-manager/pkg/util/feature"
)

// The programs by name; each gets its arguments and runs until the context ends.
var programs = map[string]func(context.Context, []string) error{
	"acmesolver": runSolver,
	"cainjector": configured(runInjector),
	"controller": configured(runController),
	"webhook":    configured(runWebhook),
}

// configured makes a program that has one flag: the path of its configuration.
func configured(run func(context.Context, []byte) error) func(context.Context, []string) error {
	return func(ctx context.Context, args []string) error {
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		path := flags.String("config", "", "path of the configuration file")
		if err := flags.Parse(args); err != nil {
			return err
		}
		if flags.NArg() > 0 {
			return fmt.Errorf("unknown argument %q; everything is set in the file that -config names", flags.Arg(0))
		}
		data, err := os.ReadFile(*path)
		if err != nil {
			return fmt.Errorf("-config names no file that can be read: %w", err)
		}
		return run(ctx, data)
	}
}

// prepare sets what belongs to the process as a whole: how it logs and which features are on.
func prepare(logging *logsapi.LoggingConfiguration, features map[string]bool) error {
	if err := logf.ValidateAndApply(logging); err != nil {
		return fmt.Errorf("logging: %w", err)
	}
	if err := utilfeature.DefaultMutableFeatureGate.SetFromMap(features); err != nil {
		return fmt.Errorf("featureGates: %w", err)
	}
	return nil
}

func main() {
	name := filepath.Base(os.Args[0])
	run, known := programs[name]
	if !known {
		names := make([]string, 0, len(programs))
		for each := range programs {
			names = append(names, each)
		}
		slices.Sort(names)
		fmt.Fprintf(os.Stderr, "called as %q; link this file to one of: %s\n", name, strings.Join(names, ", "))
		os.Exit(2)
	}
	logf.InitLogs()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	err := run(logf.NewContext(ctx, logf.Log, name), os.Args[1:])
	logf.FlushLogs()
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}
