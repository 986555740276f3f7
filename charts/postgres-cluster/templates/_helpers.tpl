{{/* One volume of each instance. Call with {size, storageClassName}. */}}
{{- define "dcm.clusterVolume" -}}
size: {{ .size }}
{{- with .storageClassName }}
storageClass: {{ . }}
{{- end }}
resizeInUseVolumes: true
{{- end }}
