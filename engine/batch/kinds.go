package batch

import "slices"

// Kinds returns the codes of a batch's ops, each once, in the order in which they first come. It
// looks at no body, so it costs little beside decompressing, and codes of later versions are
// among them. It fails as [Decode] does for what is around the bodies.
func Kinds(b Batch) (codes []OpCode, err error) {
	payload, err := Payload(b)
	if err != nil {
		return nil, err
	}
	r := reader{b: payload}
	r.optional()
	r.uvarint()
	r.uvarint()
	for range r.count(2) {
		code := OpCode(r.byte())
		r.take(r.count(1))
		if r.err == nil && !slices.Contains(codes, code) {
			codes = append(codes, code)
		}
	}
	return codes, r.err
}
