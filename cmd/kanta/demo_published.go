package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kantadb/kanta/query"
)

// publication is a published file of people and what is asked of it.
type publication struct {
	what, file, key string
	questions       []demoQuestion
	broken, by      string // a breakdown
}

func publications() []publication {
	return []publication{{
		what: "Persons with typing errors and gaps, published by the Febrl project", file: "febrl/dataset1.csv", key: "rec_id",
		questions: []demoQuestion{
			{"", `state == "nsw"`},
			{"", `!has(p.date_of_birth) || !has(p.given_name)`},
			{"", `surname.startsWith("wh") && state in ["nsw", "vic", "qld"]`},
			{"", `date_of_birth >= 19500101 && date_of_birth < 19600101 && !(state == "qld")`},
			{"", `given_name == surname`},
		},
		broken: `has(p.surname)`, by: "state",
	}, {
		what: "Households that are customers of a grocer, published as The Complete Journey", file: "completejourney/demographics.csv.gz", key: "household_id",
		questions: []demoQuestion{
			{"", `home_ownership == "Homeowner"`},
			{"", `age in ["19-24", "25-34"] && marital_status == "Married"`},
			{"", `kids_count != "0" && income in ["100-124K", "125-149K", "150-174K", "175-199K", "200-249K", "250K+"]`},
			{"", `!(home_ownership == "Homeowner") && household_comp.contains("No Kids")`},
		},
		broken: `marital_status == "Married" && home_ownership == "Homeowner"`, by: "income",
	}}
}

// firstPublished is the number of the first part of the demonstration with published data.
const firstPublished = 4

// published demonstrates with people of published data sets, if there are any.
func (d *demo) published(ctx context.Context) error {
	folder := d.env("KANTA_REFDATA")
	if folder == "" {
		fmt.Fprintln(d.out, "\nKANTA_REFDATA names no folder of reference data: people of published data sets were left out.")
		return nil
	}
	list := publications()
	for i, p := range list {
		if err := d.population(ctx, folder, i, &p); err != nil {
			return err
		}
	}
	return d.publishedActs(ctx, folder, firstPublished+len(list))
}

func (d *demo) population(ctx context.Context, folder string, number int, p *publication) error {
	file := filepath.Join(folder, filepath.FromSlash(p.file))
	if _, err := os.Stat(file); err != nil {
		fmt.Fprintf(d.out, "\n%s is not in %s: left out.\n", p.file, folder)
		return nil
	}
	d.title("%d. %s: kanta load profiles %s --key %s", firstPublished+number, p.what, p.file, p.key)
	s, err := d.openDir(filepath.Join(d.dir, fmt.Sprintf("published-%d", number)), true)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := d.load(ctx, s, file, p.key); err != nil {
		return err
	}
	if err := d.ask(ctx, s, p.questions, nil, &query.Options{}); err != nil {
		return err
	}
	n, err := s.Count(ctx, p.broken, nil)
	if err != nil {
		return err
	}
	return d.breakdown(ctx, s, p.broken, p.by, 8, &query.Options{}, n.Count)
}
