package bench

import (
	"fmt"
	"strings"
	"time"

	"github.com/kantadb/kanta/index/schema"
)

// Attribute numbers a column of the workload, in the order of the package comment.
type Attribute int

// The attributes.
const (
	Country Attribute = iota
	City
	Gender
	Age
	Plan
	OS
	AppVersion
	Language
	MaritalStatus
	IncomeBand
	AcquisitionChannel
	AcquisitionCampaign
	HasEmail
	EmailOptIn
	PushOptIn
	Interests
	SignupDate
	LTV
	LoyaltyTier
	SupportTickets
	NumAttributes int = iota
)

const (
	countries       = 50
	citiesOfCountry = 40
	numInterests    = 200
	maxInterests    = 8
	signupDays      = 1095
	firstSignup     = 19359 // 2023-01-02 in days since 1970, signupDays before now
	ltvScale        = 2
)

// Now is the instant at which the workload is asked: 2026-01-01T00:00:00Z.
func Now() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// column is what is known of one attribute. A value is base plus a number drawn from
// pick, except for ltv and interests, which have code of their own.
type column struct {
	name   string
	kind   schema.Kind
	class  schema.DataClass
	words  []string // of strings, sets and dates: the text of the value base+i
	pick   alias
	base   int64
	absent uint32 // probability of no value, in units of 2^-32
}

// columns builds the table of attributes.
func columns() [NumAttributes]column {
	var c [NumAttributes]column
	text := func(a Attribute, name string, class schema.DataClass, absentPercent uint64, words []string, weights []uint64) {
		c[a] = column{name: name, kind: schema.String, class: class, words: words, pick: newAlias(weights), absent: percent(absentPercent)}
	}
	number := func(a Attribute, name string, kind schema.Kind, class schema.DataClass, base int64, weights []uint64) {
		c[a] = column{name: name, kind: kind, class: class, base: base, pick: newAlias(weights)}
	}
	text(Country, "country", schema.Demographic, 0, countryWords(), zipf(countries, 1))
	text(City, "city", schema.Demographic, 0, cityWords(), zipf(citiesOfCountry, 1))
	text(Gender, "gender", schema.Demographic, 3, strings.Fields("female male other"), []uint64{49, 48, 3})
	number(Age, "age", schema.Int, schema.Demographic, 18, powerSteps(73, 1.8))
	c[Age].absent = percent(5)
	text(Plan, "plan", schema.Transaction, 0, strings.Fields("free basic premium enterprise"), []uint64{70, 18, 10, 2})
	text(OS, "os", schema.Technographic, 0, strings.Fields("android ios web"), []uint64{52, 33, 15})
	text(AppVersion, "app_version", schema.Technographic, 0, versionWords(), zipf(40, 1.3))
	text(Language, "language", schema.Demographic, 0,
		strings.Fields("en es pt hi de fr ja id it ko tr nl pl ar vi th sv el cs fi"), zipf(20, 1.1))
	text(MaritalStatus, "marital_status", schema.Demographic, 10,
		strings.Fields("single married divorced widowed partner"), []uint64{38, 40, 9, 3, 10})
	text(IncomeBand, "income_band", schema.Demographic, 20,
		strings.Fields("under-10k 10k-20k 20k-35k 35k-50k 50k-75k 75k-100k 100k-200k over-200k"),
		[]uint64{10, 15, 20, 18, 16, 11, 8, 2})
	text(AcquisitionChannel, "acquisition_channel", schema.Acquisition, 0,
		strings.Fields("organic paid_search paid_social referral email affiliate display direct app_store influencer partner offline"),
		zipf(12, 0.9))
	text(AcquisitionCampaign, "acquisition_campaign", schema.Acquisition, 0, numbered("campaign-%03d", 0, 300), zipf(300, 1))
	number(HasEmail, "has_email", schema.Bool, schema.Correspondence, 0, []uint64{15, 85})
	number(EmailOptIn, "email_opt_in", schema.Bool, schema.Correspondence, 0, []uint64{40, 60})
	number(PushOptIn, "push_opt_in", schema.Bool, schema.Correspondence, 0, []uint64{55, 45})
	text(Interests, "interests", schema.Psychographic, 0, numbered("i%d", 0, numInterests), zipf(numInterests, 0.8))
	c[Interests].kind = schema.Set
	number(SignupDate, "signup_date", schema.Date, schema.Acquisition, firstSignup, powerSteps(signupDays, 0.8))
	c[SignupDate].words = dateWords()
	c[LTV] = column{name: "ltv", kind: schema.Decimal, class: schema.Transaction, absent: percent(2)}
	text(LoyaltyTier, "loyalty_tier", schema.Transaction, 0, strings.Fields("none bronze silver gold platinum"), []uint64{50, 25, 14, 8, 3})
	number(SupportTickets, "support_tickets", schema.Int, schema.Activity, 0, []uint64{600, 200, 90, 50, 25, 15, 10, 5, 3, 2})
	return c
}

// interestDraws returns the distribution of how often a profile draws an interest.
func interestDraws() alias { return newAlias([]uint64{10, 12, 15, 18, 16, 12, 8, 5, 4}) }

// percent returns p % in units of 2^-32.
func percent(p uint64) uint32 { return uint32(p << 32 / 100) }

func countryWords() []string {
	return strings.Fields("US IN BR GB DE FR JP ID MX NG ES IT CA KR TR AU NL PL AR CO ZA EG PH VN TH " +
		"MY SE BE CH AT PT GR CZ RO DK FI NO IE NZ CL PE UA HU IL AE SA PK BD KE SG")
}

func cityWords() []string {
	words := make([]string, 0, countries*citiesOfCountry)
	for _, country := range countryWords() {
		words = append(words, numbered(country+"-city-%02d", 0, citiesOfCountry)...)
	}
	return words
}

// versionWords lists 40 versions, the newest first: 9.9.0 ... 6.0.0.
func versionWords() []string {
	words := make([]string, 40)
	for i := range words {
		words[i] = fmt.Sprintf("%d.%d.0", 9-i/10, 9-i%10)
	}
	return words
}

func dateWords() []string {
	words := make([]string, signupDays)
	for i := range words {
		words[i] = schema.DateValue(firstSignup + int64(i)).String()
	}
	return words
}

func numbered(format string, from, n int) []string {
	words := make([]string, n)
	for i := range words {
		words[i] = fmt.Sprintf(format, from+i)
	}
	return words
}
