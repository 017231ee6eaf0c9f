namespace AllocTools.HostMemory;

/// <summary>The sends and receives that wait at one endpoint. Each send meets the oldest receive.</summary>
/// <remarks>Invariant: of the two queues at most one has entries. Guarded by its own lock; completions run outside it.</remarks>
internal sealed class HostMailbox
{
    private readonly Lock _gate = new();
    private readonly LinkedList<HostPending> _sends = new();
    private readonly LinkedList<HostPending> _receives = new();
    private bool _closed;

    /// <summary>Meets a counterpart, or waits for one.</summary>
    /// <param name="pending">A send to, or a receive of, this endpoint.</param>
    /// <param name="counterpart">What it met; null: it waits.</param>
    /// <returns>False when the endpoint is closed.</returns>
    public bool TryMeet(HostPending pending, out HostPending? counterpart)
    {
        lock (_gate)
        {
            counterpart = null;
            if (_closed)
                return false;
            bool isSend = pending.Kind == RmaOperationKind.Send;
            LinkedList<HostPending> others = isSend ? _receives : _sends;
            if (others.First is { } first)
            {
                others.RemoveFirst();
                counterpart = first.Value;
            }
            else
            {
                (isSend ? _sends : _receives).AddLast(pending);
            }
            return true;
        }
    }

    /// <summary>Takes one out that gives up. False: it has met its counterpart.</summary>
    public bool TryRemove(HostPending pending)
    {
        lock (_gate)
            return (pending.Kind == RmaOperationKind.Send ? _sends : _receives).Remove(pending);
    }

    /// <summary>Takes out those of an owner that are due by a time; all of them with <see cref="long.MaxValue"/>.</summary>
    public List<HostPending> RemoveDue(HostEndpoint owner, long now)
    {
        List<HostPending> due = [];
        lock (_gate)
        {
            foreach (LinkedList<HostPending> queue in new[] { _sends, _receives })
            {
                for (LinkedListNode<HostPending>? node = queue.First; node is not null;)
                {
                    LinkedListNode<HostPending>? next = node.Next;
                    if (node.Value.Owner == owner && node.Value.Deadline <= now)
                    {
                        due.Add(node.Value);
                        queue.Remove(node);
                    }
                    node = next;
                }
            }
        }
        return due;
    }

    /// <summary>Lets nothing in any more, and takes everything out.</summary>
    public List<HostPending> Close()
    {
        lock (_gate)
        {
            _closed = true;
            List<HostPending> left = [.. _sends, .. _receives];
            _sends.Clear();
            _receives.Clear();
            return left;
        }
    }
}
