package main

import (
	"cmp"
	"context"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kantadb/kanta/engine"
	"github.com/kantadb/kanta/engine/s3"
	"github.com/kantadb/kanta/query"
)

// targetFlag names where backups are kept.
type targetFlag struct{ text string }

const targetVariable = "KANTA_BACKUP_TARGET"

func (f *targetFlag) add(c *cobra.Command) {
	c.Flags().StringVar(&f.text, "target", "", "where backups are kept: a folder, or s3://BUCKET/PREFIX (default the environment variable "+targetVariable+")")
}

// backupTarget is a target that was opened; close it.
type backupTarget interface {
	query.BackupTarget
	io.Closer
}

// place returns what the flag, or the environment, names.
func (f *targetFlag) place(a *app) (string, error) {
	if text := cmp.Or(f.text, a.env(targetVariable)); text != "" {
		return text, nil
	}
	return "", usagef("say with --target where backups are kept: a folder, or s3://BUCKET/PREFIX")
}

// open opens the target. A folder is made only for who writes a backup into it.
func (f *targetFlag) open(a *app, create bool) (backupTarget, error) {
	text, err := f.place(a)
	if err != nil {
		return nil, err
	}
	scheme, rest, found := strings.Cut(text, "://")
	switch {
	case found && scheme == "file":
		if text = rest; !strings.HasPrefix(text, "/") {
			return nil, usagef("--target file://%s: write file:///PATH", rest)
		}
	case found && scheme == "s3":
		bucket, prefix, _ := strings.Cut(rest, "/")
		return s3.Open(bucket, prefix, &s3.Options{
			Endpoint: cmp.Or(a.env("AWS_ENDPOINT_URL_S3"), a.env("AWS_ENDPOINT_URL")), Region: cmp.Or(a.env("AWS_REGION"), a.env("AWS_DEFAULT_REGION")),
			AccessKey: a.env("AWS_ACCESS_KEY_ID"), SecretKey: a.env("AWS_SECRET_ACCESS_KEY"), SessionToken: a.env("AWS_SESSION_TOKEN"),
		})
	case found:
		return nil, usagef("--target %s: it is a folder, file:///PATH or s3://BUCKET/PREFIX", text)
	}
	if info, err := os.Stat(text); err == nil && !info.IsDir() {
		return nil, usagef("--target %s: it is a file; backups are kept in a folder", text)
	} else if err != nil && !create {
		return nil, &query.Error{Code: query.CodeNotAStore, Message: "there are no backups in " + text, Hint: "name another target", Err: err}
	}
	return engine.OpenBackupDir(text)
}

// withTarget runs do with the target and closes it.
func (f *targetFlag) with(a *app, create bool, do func(query.BackupTarget) error) (err error) {
	t, err := f.open(a, create)
	if err != nil {
		return err
	}
	defer func() {
		if closed := t.Close(); err == nil {
			err = closed
		}
	}()
	return do(t)
}

// complete makes the shell complete names of backups.
func (f *targetFlag) complete(a *app) cobra.CompletionFunc {
	return func(_ *cobra.Command, _ []string, start string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(context.Background(), completionTime)
		defer cancel()
		var found []string
		err := f.with(a, false, func(t query.BackupTarget) error {
			return engine.Backups(ctx, t, func(b query.Backup, _ error) error {
				if strings.HasPrefix(b.Name, start) {
					found = append(found, b.Name)
				}
				return nil
			})
		})
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
