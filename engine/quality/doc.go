// Package quality is stage 1 of a write: what can be decided from the input and the
// schema alone, before the log. It finds out how a file is written ([Sniff]), reads its
// rows ([OpenRows]), infers a schema from them ([Infer]) or reads one from a file
// ([ReadSchemaFile]), turns rows into batches ([Load]), and checks a batch against the
// rules of the schema ([Check]). Format libraries are allowed here and forbidden in
// Apply, which must decide the same on every machine and in every version.
package quality
