{{/* Pod Security level "restricted", the part of the pod. Call with the numeric user and group ids (dict "uid" "gid"). */}}
{{- define "dcm.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: {{ int64 .uid }}
runAsGroup: {{ int64 .gid }}
fsGroup: {{ int64 .gid }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{/* Pod Security level "restricted", the part of each container, and a root file system that cannot be written. */}}
{{- define "dcm.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop:
    - ALL
{{- end }}

{{/* Where the pod runs and what it may preempt. */}}
{{- define "dcm.scheduling" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A projected Secret: the named keys as files, readable by the pod's group alone. Call with (dict "name" "keys"). */}}
{{- define "dcm.secretVolume" -}}
projected:
  defaultMode: 0440
  sources:
    - secret:
        name: {{ .name }}
        items:
          {{- range .keys }}
          - key: {{ . }}
            path: {{ . }}
          {{- end }}
{{- end }}

{{/* The service account of a release; no token in the pod unless asked for. */}}
{{- define "dcm.serviceAccount" -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "dcm.metadata" (dict "root" . "annotations" .Values.serviceAccount.annotations) | nindent 2 }}
automountServiceAccountToken: {{ .Values.serviceAccount.automountToken }}
{{- end }}

{{/* One persistent volume claim of a StatefulSet. Call with (dict "name" "size" "storageClassName" "accessModes"). */}}
{{- define "dcm.volumeClaim" -}}
metadata:
  name: {{ .name }}
spec:
  accessModes:
    {{- toYaml (.accessModes | default (list "ReadWriteOnce")) | nindent 4 }}
  {{- with .storageClassName }}
  storageClassName: {{ . }}
  {{- end }}
  resources:
    requests:
      storage: {{ .size }}
{{- end }}

{{/* Labels and annotations of a StatefulSet's pods that read their configuration from the release's ConfigMap. */}}
{{- define "dcm.configuredPodMetadata" -}}
labels:
  {{- include "dcm.podLabels" . | nindent 2 }}
annotations:
  dcm.platform/config-checksum: {{ include (print .Template.BasePath "/config.yaml") . | sha256sum }}
{{- end }}

{{/* One probe of the management script. Call with (dict "command" [...] "settings" {...}). */}}
{{- define "dcm.execProbe" -}}
exec:
  command:
    {{- toYaml .command | nindent 4 }}
{{ toYaml .settings }}
{{- end }}

{{/* What every pod says before its containers. Call with (dict "root" $ "gracePeriodSeconds"), and "suffix" where its objects have one. */}}
{{- define "dcm.podSpec" -}}
{{- $values := .root.Values -}}
serviceAccountName: {{ .root.Release.Name }}{{ .suffix }}
automountServiceAccountToken: {{ $values.serviceAccount.automountToken }}
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .gracePeriodSeconds }}
securityContext:
  {{- include "dcm.podSecurityContext" $values.user | nindent 2 }}
{{- with $values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with include "dcm.scheduling" .root | trim }}
{{ . }}
{{- end }}
{{- end }}

{{/* The Service of a server with one port. Call with (dict "root" $ "port" "portName"). */}}
{{- define "dcm.serverService" -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "dcm.metadata" (dict "root" .root) | nindent 2 }}
spec:
  selector:
    {{- include "dcm.selectorLabels" .root | nindent 4 }}
  ports:
    - name: {{ .portName }}
      port: {{ .port }}
      targetPort: {{ .portName }}
{{- end }}

{{/* One probe over HTTP. Call with (dict "port" name "path" "settings" {...}). */}}
{{- define "dcm.httpProbe" -}}
httpGet:
  port: {{ .port }}
  path: {{ .path }}
{{ toYaml .settings }}
{{- end }}

{{/* A role and who has it. Call with (dict "root" $ "rules" [...]), "suffix" where needed; "cluster" is for a ClusterRole. */}}
{{- define "dcm.rights" -}}
{{- $kind := ternary "ClusterRole" "Role" (eq .cluster true) -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}
metadata:
  {{- include "dcm.metadata" . | nindent 2 }}
rules:
  {{- toYaml .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $kind }}Binding
metadata:
  {{- include "dcm.metadata" . | nindent 2 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $kind }}
  name: {{ .root.Release.Name }}{{ .suffix }}
subjects:
  - kind: ServiceAccount
    name: {{ .root.Release.Name }}{{ .account | default .suffix }}
    namespace: {{ .root.Release.Namespace }}
{{- end }}
