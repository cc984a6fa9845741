// Package proc reads the processes of this machine as plain values.
//
// Guaranteed: it only reads; the one signal it ever sends is 0, which asks
// whether a pid exists. Not guaranteed: that a container or a proc mounted with
// hidepid shows all processes of the host; each answer reports when it may not.
package proc
