package base

// loanStep is what a loan takes of the budget at a time, in bytes: most work takes a step,
// and what it gives back and takes again costs nothing.
const loanStep = 1 << 20

// Loan is working memory that becomes more and less while something is worked out. It
// belongs to one goroutine; the nil Loan counts nothing, for work that must never be refused.
type Loan struct {
	of          *Quota
	what        string
	used, taken int64 // taken: of the quota
}

// Lend begins a loan of nothing; what names the work, for the message.
func (q *Quota) Lend(what string) *Loan {
	if q == nil {
		return nil
	}
	return &Loan{of: q, what: what}
}

// Take takes bytes more, before they are allocated, and fails with [query.CodeBudget] if so
// much is not left; it has taken nothing then. Fewer than 0 bytes are given back.
func (l *Loan) Take(bytes int64) error {
	if l == nil {
		return nil
	}
	if more := l.used + bytes - l.taken; more > 0 {
		step := (more + loanStep - 1) / loanStep * loanStep
		if l.of.reserve(step, l.what) != nil { // not a step, but perhaps what is needed
			if err := l.of.reserve(more, l.what); err != nil {
				return err
			}
			step = more
		}
		l.taken += step
	}
	if l.used += bytes; l.used < l.taken/2 && l.taken > loanStep { // not at each change
		keep := max((l.used+loanStep-1)/loanStep*loanStep, loanStep)
		l.of.free(l.taken - keep)
		l.taken = keep
	}
	return nil
}

// Close gives everything back.
func (l *Loan) Close() {
	if l != nil && l.taken > 0 {
		l.of.free(l.taken)
		l.used, l.taken = 0, 0
	}
}
