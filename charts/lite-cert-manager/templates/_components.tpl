{{/* A program as a context of the library: its own name and component in labels, and its own flows. The webhook alone is called, and the
     controller alone reaches issuers. */}}
{{- define "certManager.context" -}}
{{- $root := .root -}}
{{- $policy := $root.Values.networkPolicy -}}
{{- $issuers := ternary $root.Values.issuerEgress list (eq .program "controller") -}}
{{- $flows := dict "enabled" $policy.enabled "dns" $policy.dns "egress" (concat $policy.egress $issuers | default list)
      "ingress" (ternary $policy.ingress list (eq .program "webhook")) -}}
{{- $values := ternary
      (merge (dict) $root.Values)
      (merge (dict "nameOverride" .program "component" .program) (omit $root.Values "nameOverride" "component"))
      (eq .program "controller") -}}
{{- $values = merge (dict "networkPolicy" $flows) (omit $values "networkPolicy") -}}
{{- toYaml (dict "Chart" (dict "Name" $root.Chart.Name "Version" $root.Chart.Version)
      "Release" (dict "Name" $root.Release.Name "Namespace" $root.Release.Namespace "Service" $root.Release.Service)
      "Values" $values) -}}
{{- end }}

{{- define "certManager.suffix" -}}
{{- if ne . "controller" }}-{{ . }}{{ end -}}
{{- end }}

{{/* The versioned configuration of a program. Its name is part of the group of the API. */}}
{{- define "certManager.config" -}}
{{- $root := .root -}}
{{- $namespace := $root.Release.Namespace -}}
{{- $election := dict "leaderElectionConfig" (dict "namespace" $namespace) -}}
{{- $service := printf "%s-webhook" $root.Release.Name -}}
{{- $solver := include "dcm.image" (merge (dict "repository" (printf "%s-acmesolver" $root.Values.image.repository)) $root.Values.image) -}}
{{- $own := dict
      "controller" (dict "kind" "ControllerConfiguration" "clusterResourceNamespace" $namespace
        "acmeHTTP01Config" (dict "solverImage" $solver))
      "cainjector" (dict "kind" "CAInjectorConfiguration")
      "webhook" (dict "kind" "WebhookConfiguration" "securePort" $root.Values.webhook.port "healthzPort" 6080
        "tlsConfig" (dict "dynamic" (dict "secretNamespace" $namespace "secretName" (printf "%s-ca" $service)
          "dnsNames" (list $service (printf "%s.%s" $service $namespace) (printf "%s.%s.svc" $service $namespace))))) -}}
{{- $config := merge (dict "apiVersion" (printf "%s.config.cert-manager.io/v1alpha1" .program)) (get $own .program) -}}
{{- if ne .program "webhook" }}{{ $config = merge $config $election }}{{ end -}}
{{- if eq .program "controller" }}{{ $config = merge (deepCopy $root.Values.config) $config }}{{ end -}}
{{- toYaml $config -}}
{{- end }}
