package query

import "time"

// Calendar cuts the days of a zone into periods. Days are local dates, as days since 1970.
type Calendar struct {
	Per       string // "week", "month"; else a day
	Zone      *time.Location
	WeekStart time.Weekday
}

// Calendar returns that of the parameters "per" and "week-start", in a zone. The start of weeks
// where there are none is [CodeInvalid].
func (a Arguments) Calendar(zone *time.Location) (Calendar, error) {
	c := Calendar{Per: a.One("per"), Zone: zone, WeekStart: time.Monday}
	if a.One("week-start") == "sunday" {
		c.WeekStart = time.Sunday
	}
	if c.WeekStart != time.Monday && (c.Per != "week" || a.One("by") == "rolling") {
		return c, &Error{Code: CodeInvalid, Message: "--week-start " + a.One("week-start") + ": there are no weeks of a calendar here", Hint: "leave it out, or --per week of a calendar"}
	}
	return c, nil
}

// First returns the day with which the period begins that a day is of.
func (c *Calendar) First(day int64) int64 {
	switch c.Per {
	case "week":
		since := day + int64(time.Thursday) - int64(c.WeekStart) // 1970 began on a Thursday
		return day - (since%7+7)%7
	case "month":
		return day - int64(DateOf(day).Day()) + 1
	}
	return day
}

// Step returns the day with which the n-th period begins after the one that begins with a day.
func (c *Calendar) Step(day int64, n int) int64 {
	switch c.Per {
	case "week":
		return day + 7*int64(n)
	case "month":
		return DateOf(day).AddDate(0, n, 0).Unix() / (24 * 3600)
	}
	return day + int64(n)
}

// DateOf returns a day as the time at which it begins in UTC.
func DateOf(day int64) time.Time { return time.Unix(day*24*3600, 0).UTC() }
