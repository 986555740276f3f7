{{/* Whether the pod needs the repository: to write backups, or to restore one. */}}
{{- define "postgres.repository" -}}
{{- if or .Values.backup.enabled .Values.restore.id }}yes{{ end }}
{{- end }}

{{/* The configuration of pgBackRest; what is secret comes from files at run time. */}}
{{- define "postgres.pgbackrest" -}}
{{- $repository := .Values.repository -}}
[global]
repo1-type={{ $repository.type }}
{{- if eq $repository.type "s3" }}
{{- $address := splitList ":" $repository.s3.endpoint }}
repo1-path={{ $repository.s3.path }}
repo1-s3-bucket={{ $repository.s3.bucket }}
repo1-s3-endpoint={{ first $address }}
{{- with rest $address }}
repo1-storage-port={{ first . }}
{{- end }}
repo1-s3-region={{ $repository.s3.region }}
repo1-s3-uri-style={{ $repository.s3.uriStyle }}
repo1-storage-verify-tls={{ ternary "y" "n" $repository.s3.verifyTls }}
{{- if $repository.s3.caConfigMap }}
repo1-storage-ca-file=/run/dcm/repository/ca.crt
{{- end }}
{{- else }}
repo1-path=/var/lib/pgbackrest
{{- end }}
{{- if $repository.cipherSecret }}
repo1-cipher-type=aes-256-cbc
{{- end }}
repo1-bundle=y
repo1-retention-full={{ .Values.backup.keepFull }}
compress-type=zst
start-fast=y
lock-path=/run/postgresql/pgbackrest
spool-path=/var/lib/postgresql/spool
log-level-file=off
log-level-console=info
{{- range $name, $value := $repository.options }}
{{ $name }}={{ $value }}
{{- end }}

[{{ $repository.stanza }}]
pg1-port={{ .Values.port }}
pg1-socket-path=/run/postgresql
{{- end }}

{{/* What the scripts read; no secret among it. */}}
{{- define "postgres.environment" -}}
{{- $settings := dict
      "BINARIES" .Values.binaries
      "VOLUME" "/var/lib/postgresql"
      "RUN_DIR" "/run/postgresql"
      "CONFIG_DIR" "/etc/dcm-postgres"
      "ADMIN_DIR" "/run/dcm/secrets"
      "ADMIN_USERNAME_KEY" .Values.adminSecret.usernameKey
      "ADMIN_PASSWORD_KEY" .Values.adminSecret.passwordKey
      "DATABASE" .Values.database -}}
{{- if include "postgres.repository" . }}
{{- $settings = merge $settings (dict
      "PGBACKREST_STANZA" .Values.repository.stanza
      "REPOSITORY_DIR" "/run/dcm/repository"
      "PORT" (toString .Values.port)
      "FULL_EVERY_HOURS" (toString .Values.backup.fullEveryHours)
      "DIFFERENTIAL_EVERY_HOURS" (toString .Values.backup.differentialEveryHours)
      "RESTORE_ID" .Values.restore.id
      "RESTORE_TYPE" (ternary "default" .Values.restore.type (eq .Values.restore.type "latest"))
      "RESTORE_TARGET" .Values.restore.target
      "RESTORE_BACKUP" .Values.restore.backup
      "RESTORE_TIMELINE" .Values.restore.timeline) }}
{{- end }}
{{- range $name, $value := $settings }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{/* Where the containers find what they share. */}}
{{- define "postgres.volumeMounts" -}}
- name: data
  mountPath: /var/lib/postgresql
- name: config
  mountPath: /etc/dcm-postgres
  readOnly: true
- name: secrets
  mountPath: /run/dcm/secrets
  readOnly: true
- name: run
  mountPath: /run/postgresql
{{- if include "postgres.repository" . }}
- name: repository-access
  mountPath: /run/dcm/repository
  readOnly: true
{{- if eq .Values.repository.type "posix" }}
- name: repository
  mountPath: /var/lib/pgbackrest
  readOnly: {{ not .Values.backup.enabled }}
{{- end }}
{{- end }}
{{- end }}

{{/* The repository's secrets as files: only those that are asked for. */}}
{{- define "postgres.repositoryVolumes" -}}
{{- $repository := .Values.repository -}}
- name: repository-access
  projected:
    defaultMode: 0440
    sources:
      {{- with $repository.cipherSecret }}
      - secret:
          name: {{ . }}
          items:
            - key: {{ $repository.cipherKey }}
              path: cipher
      {{- end }}
      {{- if eq $repository.type "s3" }}
      - secret:
          name: {{ $repository.s3.credentialsSecret }}
          items:
            - key: {{ $repository.s3.idKey }}
              path: s3-key
            - key: {{ $repository.s3.secretKey }}
              path: s3-key-secret
      {{- with $repository.s3.caConfigMap }}
      - configMap:
          name: {{ . }}
          items:
            - key: ca.crt
              path: ca.crt
      {{- end }}
      {{- else if not $repository.cipherSecret }} []
      {{- end }}
{{- if eq $repository.type "posix" }}
- name: repository
  persistentVolumeClaim:
    claimName: {{ $repository.claim | default (printf "%s-backup" .Release.Name) }}
{{- end }}
{{- end }}
