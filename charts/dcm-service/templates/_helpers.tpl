{{/* Environment of the service: the user's and what the chart knows itself. */}}
{{- define "dcm-service.env" -}}
{{- $own := dict -}}
{{- if ne .Values.secrets.source "none" -}}
{{- $own = dict "DCM_SECRETS_DIR" .Values.secrets.mountPath -}}
{{- end -}}
{{- range $key, $value := merge (dict) .Values.env $own }}
{{ $key }}: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* Pods that run at least; a disruption budget for one pod could only block a drain. */}}
{{- define "dcm-service.leastReplicas" -}}
{{- ternary .Values.autoscaling.minReplicas .Values.workload.replicas .Values.autoscaling.enabled -}}
{{- end }}

{{/* One HTTP probe of the management port. */}}
{{- define "dcm-service.probe" -}}
httpGet:
  path: {{ .path }}
  port: management
{{ omit . "path" | toYaml }}
{{- end }}

{{/* The files that hold the secrets. Each source (a Secret, or the agent of Vault) fills the one volume "secrets". */}}
{{- define "dcm-service.secretsVolume" -}}
{{- if eq .Values.secrets.source "secret" }}
- name: secrets
  {{- include "dcm.secretVolume" .Values.secrets | nindent 2 }}
{{- else if eq .Values.secrets.source "vault" }}
{{- include "dcm-service.vaultVolumes" . }}
{{- end }}
{{- end }}

{{- define "dcm-service.volumes" -}}
{{- include "dcm-service.secretsVolume" . }}
{{- if .Values.tmp.enabled }}
- name: tmp
  emptyDir:
    sizeLimit: {{ .Values.tmp.sizeLimit }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dcm-service.volumeMounts" -}}
{{- if ne .Values.secrets.source "none" }}
- name: secrets
  mountPath: {{ .Values.secrets.mountPath }}
  readOnly: true
{{- end }}
{{- if .Values.tmp.enabled }}
- name: tmp
  mountPath: /tmp
{{- end }}
{{- range .Values.volumeClaims }}
- name: {{ .name }}
  mountPath: {{ .mountPath }}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "dcm-service.topologySpread" -}}
{{- $root := . }}
{{- range .Values.topologySpread }}
- topologyKey: {{ .topologyKey }}
  maxSkew: {{ .maxSkew | default 1 }}
  whenUnsatisfiable: {{ .whenUnsatisfiable | default "ScheduleAnyway" }}
  labelSelector:
    matchLabels:
      {{- include "dcm.selectorLabels" $root | nindent 6 }}
{{- end }}
{{- end }}

{{/* What the schema cannot say: values that only make sense together. */}}
{{- define "dcm-service.validate" -}}
{{- $v := .Values -}}
{{- if ge (int $v.shutdown.pauseSeconds) (int $v.shutdown.gracePeriodSeconds) -}}
{{- fail (printf "shutdown.pauseSeconds (%v) must be less than shutdown.gracePeriodSeconds (%v): the service would be killed before it is told to stop" $v.shutdown.pauseSeconds $v.shutdown.gracePeriodSeconds) -}}
{{- end -}}
{{- if and (eq $v.secrets.source "vault") (not (and $v.vault.image.repository (or $v.vault.image.tag $v.vault.image.digest))) -}}
{{- fail "secrets.source is vault, but vault.image has no repository with a tag or digest: the agent needs an image" -}}
{{- end -}}
{{- if lt (int $v.autoscaling.maxReplicas) (int $v.autoscaling.minReplicas) -}}
{{- fail (printf "autoscaling.maxReplicas (%v) is below autoscaling.minReplicas (%v)" $v.autoscaling.maxReplicas $v.autoscaling.minReplicas) -}}
{{- end -}}
{{- if and (ne $v.route.kind "none") (not $v.http.enabled) -}}
{{- fail (printf "route.kind is %s, but http.enabled is false: there is nothing to route to" $v.route.kind) -}}
{{- end -}}
{{- if and $v.http.enabled (eq (int $v.http.port) (int $v.management.port)) -}}
{{- fail (printf "http.port and management.port are both %v: health checks and metrics need a port of their own" $v.http.port) -}}
{{- end -}}
{{- if and $v.volumeClaims (ne $v.workload.kind "StatefulSet") -}}
{{- fail (printf "volumeClaims need workload.kind StatefulSet, not %s: pods of a Deployment would share one volume" $v.workload.kind) -}}
{{- end -}}
{{- end }}
