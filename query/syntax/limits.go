package syntax

// Limits of an expression. Each is far above what people write and low enough that
// the worst text costs milliseconds.
const (
	// MaxTextBytes bounds the text: longer ones are lists of values, which belong
	// into a named list (in_list).
	MaxTextBytes = 16 << 10

	// MaxNodes bounds the nodes of an expression together with those of every
	// segment that it names, each counted as often as it is named: plans are walked
	// in full, and segments that name segments could grow without bound.
	MaxNodes = 4000

	// MaxDepth bounds nesting (brackets, calls) and, separately, the length of a chain
	// of operators such as a + b + c; && and || do not count. It bounds recursion.
	MaxDepth = 60

	// MaxListLiteral bounds the elements of one [...]: a longer one is a named list.
	MaxListLiteral = 2000

	// MaxSegmentDepth bounds how deep segments may name segments: people who read
	// a definition stop following long before.
	MaxSegmentDepth = 16

	// MaxSequenceSteps bounds the lists of a sequence: a longer path is an analysis of
	// its own, and every step reads a list of events for every profile.
	MaxSequenceSteps = 20

	// MaxPatternBytes and MaxPatternSteps bound a regular expression: its text, and the
	// instructions it becomes (repetitions are written out). Matching a string takes up
	// to its length times the steps, for every string of a dictionary.
	MaxPatternBytes = 1000
	MaxPatternSteps = 2000

	// maxExponent bounds the exponent of a number literal, as a double does; exact
	// decimals would otherwise spell out every zero.
	maxExponent = 400
)
