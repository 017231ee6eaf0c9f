using AllocTools.Diagnostics;
using AllocTools.Endpoints.Drivers;

namespace AllocTools.Endpoints.Engine;

/// <summary>Finds peers whose operations take longer than <see cref="RmaEndpointOptions.SlowPeerTime"/>.</summary>
/// <remarks>
/// A timer calls <see cref="Look"/>, which compares the slots with those of the previous call, so that operations pay
/// nothing. The time counts from the first call that finds the operation with the transport, because the peer is not to
/// blame for a wait for a slot or for a full transport. If several peers are overdue and no operation at all has
/// succeeded since the previous call, the cause is probably on this side (a busy processor, or its link). A peer is then
/// reported only after twice the time.
/// </remarks>
internal sealed class SlowPeers(TimeSpan limit, OperationSlot[] slots, SlotPool free, EndpointCounters counters, PeerStates states, TimeProvider time)
{
    private readonly Dictionary<RmaDriverPeer, TimeSpan> _overdue = [];
    private readonly HashSet<RmaDriverPeer> _slow = [];

    // For each slot, the use that was last found outstanding, and when it was found first.
    private readonly (long Use, long Since)[] _seen = new (long, long)[slots.Length];
    private uint _changes;
    private bool _isIdle;
    private long _succeeded;

    /// <summary>Compares the slots with those of the previous call. Only one thread calls this at a time.</summary>
    public void Look()
    {
        uint changes = free.Changes;
        if (_isIdle && changes == _changes)
            return;
        _changes = changes;
        _overdue.Clear();
        FindOverdue(time.GetTimestamp());
        long succeeded = counters.Succeeded();
        bool hasEnded = succeeded != _succeeded;
        _succeeded = succeeded;
        bool isThisSide = !hasEnded && _overdue.Count > 1;
        foreach ((RmaDriverPeer peer, TimeSpan age) in _overdue)
        {
            if ((!isThisSide || age >= 2 * limit) && _slow.Add(peer))
                states.SetSlow(peer, age);
        }
        foreach (RmaDriverPeer peer in _slow.Where(p => !_overdue.ContainsKey(p)).ToArray())
        {
            _slow.Remove(peer);
            states.EndSlow(peer);
        }
    }

    private void FindOverdue(long now)
    {
        bool isIdle = true;
        for (int i = 0; i < slots.Length; i++)
        {
            OperationSlot slot = slots[i];
            long word = slot.Word;
            RmaDriverPeer? peer = slot.Peer;
            OperationState state = OperationSlot.StateOf(word);
            isIdle &= state != OperationState.Queued;
            if (state is not (OperationState.Posted or OperationState.Cancelling or OperationState.Abandoned))
                continue;
            isIdle = false;
            long use = OperationSlot.UseOf(word);
            if (_seen[i].Use != use)
                _seen[i] = (use, now);
            // A receive has no peer. If the use has changed, the peer may belong to another use.
            if (peer is null || OperationSlot.UseOf(slot.Word) != use)
                continue;
            TimeSpan age = time.GetElapsedTime(_seen[i].Since, now);
            if (age >= limit && age > _overdue.GetValueOrDefault(peer))
                _overdue[peer] = age;
        }
        _isIdle = isIdle;
    }
}
