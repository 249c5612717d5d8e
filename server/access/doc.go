// Package access says who may do what: callers, their keys and roles, and the one table of what
// each call of the service needs. Everything that depends on a call goes by that table: what is
// refused, what is recorded, what waits when the machine is full, and the tests of all of them.
package access
