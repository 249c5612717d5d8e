package rfm

import (
	"context"
	"maps"
	"strconv"

	"github.com/kantadb/kanta/index/bitmap"
	"github.com/kantadb/kanta/query"
)

// fields are what is lent to expressions: the name of the segment and the scores.
func fields(args query.Arguments) ([]query.Lent, error) {
	bins, _ := strconv.Atoi(args.One("bins")) // it was checked
	if bins < MinBins || bins > MaxBins {
		return nil, errBins(bins)
	}
	segments, err := readSegments(args["map"], bins)
	if err != nil {
		return nil, err
	}
	out := []query.Lent{{Field: "segment", Texts: segments.names}, {Field: "r"}, {Field: "f"}}
	if args.One("amount") != "" {
		out = append(out, query.Lent{Field: "m"})
	}
	return out, nil
}

// perPerson leaves out what says nothing of a single person: the parameters beside.
func perPerson(args query.Arguments) query.Arguments {
	args = maps.Clone(args)
	delete(args, "reach")
	delete(args, "since")
	return args
}

// check leaves out the date of --since, which is before now whenever that is asked for: what is
// saved stays sound where a clock is behind.
func check(s *query.Study, args query.Arguments) error {
	args = maps.Clone(args)
	delete(args, "since")
	_, err := prepare(s, args)
	return err
}

func lend(ctx context.Context, s *query.Study, args query.Arguments, to []*query.LentValues) (query.Answer, error) {
	a, err := prepare(s, perPerson(args))
	if err != nil {
		return query.Answer{}, err
	}
	all, _, answer, err := a.scored(ctx)
	if err != nil {
		return answer, err
	}
	segment, scores := to[0], to[1:]
	for _, p := range all[0].parts {
		if err := ctx.Err(); err != nil {
			return answer, err
		}
		first := uint32(p.chunk) << bitmap.ChunkBits
		for i, who := range p.who {
			segment.Put(first+uint32(who), uint8(a.segment(p, i))+1)
			for d := range a.has {
				scores[d].Put(first+uint32(who), p.scores[d][i])
			}
		}
	}
	return answer, nil
}
