// Package faultnet is a network in this process for tests of Raft: it loses, delays, repeats and
// reorders messages, breaks snapshots off, and is partitioned, all on demand.
//
// A [Network] has a [Transport] for each address. What goes over it is copied, as if it had been
// written and read: nobody shares memory with anybody. Time is that of package time, so in a
// bubble of testing/synctest it is virtual, and an hour of faults takes seconds.
//
// # Faults
//
// A request is delayed, may not arrive, and may arrive twice, the second time later; its answer
// is delayed and may not arrive. So what was asked for may have been done though the asker was
// told that it was not. Delays are drawn for each message, so one overtakes another. Requests of
// a pipeline come in their order, as over a connection, which breaks where one is lost. A
// snapshot may break off in the middle; a second copy of it comes whole and late.
//
// What happens to the n-th message of a kind from one to another is decided by the seed and
// these alone, not by the order in which goroutines run. The order itself is the scheduler's, so
// a seed gives the same faults, and nearly the same run.
//
// Links are cut one way or both ([Network.Cut], [Network.Partition]): then requests and answers
// on their way are lost too.
package faultnet
