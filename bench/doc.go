// Package bench is the workload that Kanta is measured with: customers whose
// attributes and acts are drawn from given distributions, the questions asked of them,
// and the right answers: about attributes counted in plain Go while the customers are
// made, about acts, where these are few, by [Behaviour].
//
// [Run] generates, loads, asks and writes; kanta bench prints its [Report]. The command
// in the folder duckdb, a module of its own, asks DuckDB the same beside Kanta.
//
// # Same data everywhere
//
// A profile is a function of (seed, number) and of nothing else, an event one of (seed,
// number, how many profiles, how many events): they can be made in any order and by any
// number of goroutines, and the bytes that are written are the same on every machine. Draws come from a counter-based generator (the output
// function of splitmix64 at seed, profile and draw number), discrete distributions are
// alias tables of integers, and exp, log and the normal quantile are our own, written
// so that no compiler fuses a multiplication with an addition.
//
// # Data
//
// Zipf(n, s) gives the value of rank k = 1..n the weight k^-s. Attributes are
// independent of each other unless said. Percentages in the order of the values.
//
//	key                   user-00000000 ... in order of generation
//	country               string   Zipf(50, 1.0): US, IN, BR, GB, DE, FR, JP, ...
//	city                  string   XX-city-00 ... of the country XX, Zipf(40, 1.0)
//	gender                string   female 49, male 48, other 3; absent 3 %
//	age                   int      18 + floor(73 u^1.8); absent 5 %
//	plan                  string   free 70, basic 18, premium 10, enterprise 2
//	os                    string   android 52, ios 33, web 15
//	app_version           string   Zipf(40, 1.3): 9.9.0, 9.8.0, ...
//	language              string   Zipf(20, 1.1): en, es, pt, hi, de, fr, ...
//	marital_status        string   single 38, married 40, divorced 9, widowed 3, partner 10; absent 10 %
//	income_band           string   8 bands: 10, 15, 20, 18, 16, 11, 8, 2; absent 20 %
//	acquisition_channel   string   Zipf(12, 0.9)
//	acquisition_campaign  string   Zipf(300, 1.0): campaign-000, ...
//	has_email             bool     85 % true
//	email_opt_in          bool     60 % of those with has_email
//	push_opt_in           bool     45 %
//	interests             set      0..8 draws (10, 12, 15, 18, 16, 12, 8, 5, 4 %) from Zipf(200, 0.8): i0, i1, ...
//	signup_date           date     floor(1095 u^0.8) days after 2023-01-02, the last day is 2025-12-31
//	ltv                   decimal  scale 2, exp(4 + 0.4 r + 1.2 z), r the rank of the plan from 0, z normal; absent 2 %
//	loyalty_tier          string   none 50, bronze 25, silver 14, gold 8, platinum 3
//	support_tickets       int      0..9: 60, 20, 9, 5, 2.5, 1.5, 1, 0.5, 0.3, 0.2
//
// Whether a value is absent is a draw of its own, so data with and without absent
// values differ in nothing else.
//
// # Events
//
// Events lie in the 90 days before now, 2026-01-01T00:00:00Z. Their numbers are in order of
// time. An hour has its share of them by its weight: 1 + 0.6 sin(2 pi (hour - 14) / 24), a
// quarter more at the end of the 90 days than at their beginning, 1.3 times that on
// Saturdays and Sundays (UTC). Within an hour of n events, event i lies in the i-th of n
// equal parts.
//
// Who it is: the profile of the rank floor(profiles u^2.5), so that a tenth of the profiles
// have 40 % of the events, and the ranks are scattered over the keys by a permutation. What
// it is, in percent:
//
//	app_open 45, view_item 25, search 8, add_to_cart 6, purchase 3, watch 4, share 1.5,
//	review 0.8, support_ticket 0.4, email_open 4, push_click 2, uninstall 0.3
//
//	category  string   Zipf(40, 0.8): c0, c1, ...; half the time the profile's favourite instead, of which all 40 are as frequent
//	item_id   string   Zipf(5000, 0.9): item-0000, ...
//	amount    decimal  scale 2, exp(3.2 + 0.9 z) + 0.99
//	channel   string   Zipf(5, 1.0): app, web, email, store, partner
//
// Every event has a channel; view_item, add_to_cart, purchase, watch and review have a category
// and an item, purchase an amount. An event may be given an id in the form of a UUID, to keep it once.
//
// # Numbers of draws
//
// Attribute number a (from 0, in the order above) takes draw 2a for its value and
// 2a+1 for its absence; interests takes draws 128 and up. An event takes draw 0 for its
// time, 1 for its profile, 2 for its type, 3 for whether the category is the favourite, 4 for
// another one, 5 for the item, 6 for the amount, 7 for the channel, 8 and 9 for the id.
// Changing any of this changes the data, and with it every published figure.
package bench
