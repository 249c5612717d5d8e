package main

import (
	_ "embed"
	"io"

	"github.com/spf13/cobra"
)

// licenseText is made by licenses_gen.go from the licence files of what is linked.
//
//go:generate go run licenses_gen.go
//go:embed licenses.txt
var licenseText string

func newLicenses(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "licenses",
		Short: "The notices of the software that kanta contains",
		Long:  `The notices of the software that kanta contains. --json: {"text":"..."}`,
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			if a.json {
				return a.printJSON(map[string]string{"text": licenseText})
			}
			_, err := io.WriteString(a.out, licenseText)
			return err
		},
	}
}
