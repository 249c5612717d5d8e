package query

import "time"

// At returns the study at another instant: its people are those of whom the study's
// expression was true then, its texts are read there, its lists end there, and attributes
// with history are as they were. What it collects and keeps is the study's.
func (s *Study) At(now time.Time) (*Study, error) {
	if now.Equal(s.Now) {
		return s, nil
	}
	compiler, view := s.compiler.At(now)
	n, err := compiler.Who()
	if err != nil {
		return nil, err
	}
	who, err := Prepare(s.ctx, n, view)
	if err != nil {
		return nil, err
	}
	o := s.Options
	o.Now = now
	past := NewStudy(s.ctx, view, who, compiler, o)
	past.Cell, past.people, past.Reserve = s.Cell, s.people, s.Keep
	return past, nil
}
