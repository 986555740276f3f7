{{/* The agent's configuration: it logs in with the pod's own service account, and keeps each secret as a file. */}}
{{- define "dcm-service.vaultConfig" -}}
{{- $v := .Values.vault -}}
vault {
  address = {{ $v.address | quote }}
  ca_cert = "/run/vault/ca/ca.crt"
}
auto_auth {
  method "jwt" {
    mount_path  = {{ printf "auth/%s" $v.authMount | quote }}
    min_backoff = "1s"
    max_backoff = "5s"
    config = {
      role                     = {{ $v.role | default (include "dcm.name" .) | quote }}
      path                     = "/run/vault/token/token"
      remove_jwt_after_reading = false
    }
  }
}
template_config {
  static_secret_render_interval = "{{ $v.refreshSeconds }}s"
  exit_on_retry_failure         = false
}
{{- range .Values.secrets.keys }}
template {
  destination          = {{ printf "%s/%s" $.Values.secrets.mountPath . | quote }}
  contents             = "{{ printf "{{ with secret \\\"%s/%s\\\" }}{{ .Data.data.%s }}{{ end }}" $v.path . $v.field }}"
  error_on_missing_key = true
  perms                = "0440"
}
{{- end }}
{{- end }}

{{/* Files in memory, the token for Vault alone, and whom to trust. */}}
{{- define "dcm-service.vaultVolumes" }}
- name: secrets
  emptyDir: {medium: Memory, sizeLimit: 1Mi}
- name: vault-agent
  configMap:
    name: {{ .Release.Name }}-vault-agent
- name: vault-ca
  configMap:
    name: {{ .Values.vault.caConfigMap }}
- name: vault-token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken:
          audience: {{ .Values.vault.audience | quote }}
          expirationSeconds: 3600
          path: token
{{- end }}

{{/* Once before the service starts, so that it never sees a missing file; then beside it for as long as it runs (a native sidecar). */}}
{{- define "dcm-service.vaultContainers" -}}
{{- range $name := list "vault-first" "vault-agent" }}
- name: {{ $name }}
  image: {{ include "dcm.image" $.Values.vault.image }}
  imagePullPolicy: {{ $.Values.vault.image.pullPolicy }}
  {{- $agent := concat $.Values.vault.command (list "agent" "-config=/etc/vault-agent/agent.hcl") }}
  command:
    {{- ternary (append $agent "-exit-after-auth") $agent (eq $name "vault-first") | toYaml | nindent 4 }}
  {{- if eq $name "vault-agent" }}
  restartPolicy: Always
  {{- end }}
  env:
    {{- range $variable, $value := dict "GOMAXPROCS" "1" "GOMEMLIMIT" $.Values.vault.memoryGoal "HOME" "/tmp" }}
    - name: {{ $variable }}
      value: {{ $value | quote }}
    {{- end }}
  resources:
    {{- toYaml $.Values.vault.resources | nindent 4 }}
  securityContext:
    {{- include "dcm.containerSecurityContext" $ | nindent 4 }}
  volumeMounts:
    - name: secrets
      mountPath: {{ $.Values.secrets.mountPath }}
    {{- range $volume, $path := dict "vault-agent" "/etc/vault-agent" "vault-ca" "/run/vault/ca" "vault-token" "/run/vault/token" }}
    - name: {{ $volume }}
      mountPath: {{ $path }}
      readOnly: true
    {{- end }}
{{- end }}
{{- end }}
