// Package model checks the protocol of package lock: its tests explore every
// interleaving of a few contenders, an engine and its faults, and look for a
// state or a step that must not be. It has no code of its own to import.
//
// # What is modelled
//
// An engine is a set of entries of one name. Below Engine 25 ("old") a create
// is two steps, check and insert, so that several may succeed; from 25 on
// ("new") it is one. One that "repeats" refuses no create at all. The ID of a new entry may be lower or higher than any
// other's. A list is a snapshot, or ("weak") shows what was there throughout and
// any of what came or went during it. Removal is by ID; plain clients, which run
// network create NAME and network rm NAME, remove by name, which fails on old
// engines when two entries have it.
//
// A contender follows exclude.go step by step: look is the list at the head of
// acquisition.run, drop is removeOwn and takeOver, create and insert are what
// announce asks for, lost is its list after an error, then come settle and
// verify, yield for the removal of its own entry, held, release (with the sweep
// of Release for creates that landed late) and withdraw with its list. After
// its end another process takes its place. An entry whose process has ended is
// an orphan, which evidence shows to all; what the evidence is does not matter.
//
// Faults are: death at any moment, for good; a create that fails, done or not;
// a create or a remove that fails for its client and takes effect later, even
// when its process is dead; a remove that fails, done or not; lists that fail;
// a contender's time being up. Faults are not counted, but only so many requests
// may be late at any one moment.
//
// Times are choices: a limit may be reached whenever there is something to wait
// for. Two assumptions about time can be made or dropped: a plain client's
// insert follows its check within the settle (T9), and what a process that gave
// up has under way lands, if ever, while it looks out for it (L5).
//
// # What must be
//
// Never do two living contenders hold. From every state with a living contender
// one can come to hold, without a death, another fault or giving up, and whether
// or not late requests take effect. Nobody waits while the only entry is its
// own. Who gives up leaves no entry, or reports it. Nobody removes the entry of
// another living process. A release reports a lost lock only if it was taken away.
//
// # The queue
//
// A second system has a lock and its queue alone, an acquire being one step: who
// looks and who rests on whom it sees, the wake of a release, waiters that are
// killed, stopped or frozen, seen or not, and how long a free lock is left to those
// ahead. As long as anybody acts, one can come to hold; a release wakes the first
// one that it does not see to be idle, of a lost lock too; in one hand-off nobody
// waits twice for those who do not act, nor again for one that let a lock pass.
//
// # Places
//
// A third system has slots, readers and writers, and contenders that disagree about the number
// of slots: of the faults above, deaths and creates that come late. As many hold as there are
// slots, each in one of its own; no writer beside anybody; nobody beside one that counts
// otherwise.
//
// # What is not modelled
//
// In the protocol, the queue: everybody may try at any time, of which the queue
// allows less; its tickets and wake markers have other names. Evidence that is
// wrong, but for the rule by age. Clocks, the durations of requests, back-offs, and so how long
// anything takes, or whether a contender starves while others hold by turns.
// The record that one process of a job leaves for the release by another.
//
// HOSTGUARD_SOAK=1 (make soak) explores what takes minutes; HOSTGUARD_SEED
// repeats the random walks of more contenders.
//
// # Traces
//
// The tests call by these names what breaks a protocol that lacks something, or
// what is not promised:
//
//	T1  No verify: two pass the check, both insert, both get the answer "created".
//	T2  The lowest ID holds at once: A holds, then B's insert comes with a lower one.
//	T3  A process takes up again an entry that it tried to remove, since that
//	    failed. It holds with it; then the removal takes effect, and another holds.
//	T4  A living holder is taken for a stale one and its entry removed.
//	T5  A's create failed; its list finds the late entry, and A holds without a
//	    second list. But a weak list may miss B's entry, and B's list missed A's.
//	T6  Somebody runs network rm NAME while the lock is held.
//	T7  What the dead leave is removed by name: B and C see the dead one's entry, B
//	    removes it and holds, C's removal hits B's. It takes three.
//	T8  A plain holder that lives is taken for a stale one; when it ends, its
//	    network rm NAME hits the next holder's entry.
//	T9  A plain client checked the name before A's insert and inserts after A's verify.
//
//	L1  A create fails and takes effect later. As first written, its process saw an
//	    entry, waited for it, and was itself the owner.
//	L2  Two insert, both yield, one removal fails. As first written, each then
//	    waited for the other's entry or for its own.
//	L3  A plain holder's network rm NAME meets two entries, its own and a
//	    candidate's of ours, and fails: its own is left, and nothing shows whose it is.
//	L4  The same between two plain holders.
//	L5  A create lands after its process stopped looking for it, and the job goes
//	    on, so that nothing shows that it is nobody's any more.
package model
