using AllocTools.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>The earliest timestamp at which an operation may be overdue. Never later than it should be.</summary>
internal sealed class EarliestDeadline
{
    private long _value = long.MaxValue;

    public long Value => Volatile.Read(ref _value);

    public void Note(long deadline)
    {
        long seen = Volatile.Read(ref _value);
        while (deadline < seen)
        {
            long before = Interlocked.CompareExchange(ref _value, deadline, seen);
            if (before == seen)
                return;
            seen = before;
        }
    }

    /// <summary>As soon as possible: something waits for a turn to end it, and its state says so already.</summary>
    public void NoteNow()
    {
        Fence.AfterInterlocked();
        Note(long.MinValue);
    }

    /// <summary>
    /// Begins a round over all operations, which notes again what it leaves. An operation that the round does not see
    /// notes its deadline after this.
    /// </summary>
    public void Reset()
    {
        Interlocked.Exchange(ref _value, long.MaxValue);
        Fence.AfterInterlocked();
    }
}
