{{/* One peer: {cidr, except} or {namespace, name, labels}; without a namespace it is the release's own. */}}
{{- define "dcm.networkPeer" -}}
{{- if .cidr }}
ipBlock:
  cidr: {{ .cidr }}
  {{- with .except }}
  except:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- else }}
{{- with .namespace }}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ . }}
{{- end }}
{{- $labels := merge (dict) (ternary (dict "app.kubernetes.io/name" .name) (dict) (not (empty .name))) (.labels | default dict) }}
{{- with $labels }}
podSelector:
  matchLabels:
    {{- toYaml . | nindent 4 }}
{{- end }}
{{- end }}
{{- end }}

{{/* The rules of one direction. Call with (dict "rules" [...] "side" "from"|"to"). */}}
{{- define "dcm.networkRules" -}}
{{- $side := .side }}
{{- range .rules }}
- {{ $side }}:
    {{- range get . $side }}
    - {{ include "dcm.networkPeer" . | trim | indent 6 | trim }}
    {{- end }}
  ports:
    {{- $protocols := .protocols | default (list "TCP") }}
    {{- range $port := .ports }}
    {{- range $protocols }}
    - protocol: {{ . }}
      port: {{ $port }}
    {{- end }}
    {{- end }}
{{- end }}
{{- end }}

{{/* The network policy of a release: only what is named, and DNS where it is on. */}}
{{- define "dcm.networkPolicy" -}}
{{- $policy := .Values.networkPolicy }}
{{- $egress := $policy.egress }}
{{- if $policy.dns.enabled }}
{{- $egress = concat (list (dict "to" $policy.dns.to "ports" $policy.dns.ports "protocols" (list "UDP" "TCP"))) $egress }}
{{- end }}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "dcm.metadata" (dict "root" .) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "dcm.selectorLabels" . | nindent 6 }}
  policyTypes:
    - Ingress
    - Egress
  ingress:
    {{- if $policy.ingress }}
    {{- include "dcm.networkRules" (dict "rules" $policy.ingress "side" "from") | trim | nindent 4 }}
    {{- else }} []
    {{- end }}
  egress:
    {{- if $egress }}
    {{- include "dcm.networkRules" (dict "rules" $egress "side" "to") | trim | nindent 4 }}
    {{- else }} []
    {{- end }}
{{- end }}
