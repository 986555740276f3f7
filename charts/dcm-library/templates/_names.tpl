{{/* The name that other services and network policies know this one by. A canary release keeps the name of its stable one. */}}
{{- define "dcm.name" -}}
{{- .Values.nameOverride | default .Release.Name -}}
{{- end }}

{{/* What selects the pods of this release; never changes while the release lives. */}}
{{- define "dcm.selectorLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/name: {{ include "dcm.name" . }}
{{- end }}

{{/* Labels of the pods: ours win over the user's, so that a selector cannot be broken by a value. */}}
{{- define "dcm.podLabels" -}}
{{- $own := include "dcm.selectorLabels" . | fromYaml -}}
{{- $fixed := dict
      "app.kubernetes.io/component" (.Values.component | default (include "dcm.name" .))
      "app.kubernetes.io/managed-by" .Release.Service
      "app.kubernetes.io/part-of" "dcm" -}}
{{- if (.Values.serviceAccount | default dict).automountToken -}}
{{- /* Admission asks that who gets a token of the Kubernetes API says so. */ -}}
{{- $_ := set $fixed "dcm.platform/api-access" "true" -}}
{{- end -}}
{{- toYaml (merge (dict) $own $fixed .Values.labels) -}}
{{- end }}

{{/* Name, namespace, labels and annotations of every object. Call with (dict "root" $), and "suffix", "labels", "annotations" where needed;
     "cluster" is for one that is in no namespace. */}}
{{- define "dcm.metadata" -}}
{{- $root := .root -}}
name: {{ $root.Release.Name }}{{ .suffix }}
{{- if not .cluster }}
namespace: {{ $root.Release.Namespace }}
{{- end }}
labels:
  {{- include "dcm.podLabels" $root | nindent 2 }}
  {{- with .labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with merge (dict) (.annotations | default dict) $root.Values.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* repository:tag, repository@digest or repository:tag@digest */}}
{{- define "dcm.image" -}}
{{- .repository }}{{ with .tag }}:{{ . }}{{ end }}{{ with .digest }}@{{ . }}{{ end -}}
{{- end }}
