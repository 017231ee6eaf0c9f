using System.Runtime.ExceptionServices;

namespace AllocTools.MultiRail;

/// <summary>A peer of an <see cref="RmaMultiRail"/> that is reached by several rails (<see cref="RmaMultiRail.InsertPeer"/>).</summary>
public sealed class RmaRailPeer
{
    private readonly Lock _gate = new();
    private readonly List<(Guid Memory, long Offset, long Length, long Until)> _doubtful = [];
    private volatile bool _isRemoved;
    private TaskCompletionSource _change = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal RmaRailPeer(RmaMultiRail owner, RailForm form, IReadOnlyList<(int Rail, RailForm.Rail Remote)> common)
    {
        Owner = owner;
        Id = form.Owner;
        List<RailLink> links = [];
        try
        {
            foreach ((int rail, RailForm.Rail remote) in common)
                links.Add(new RailLink(owner, this, rail, remote));
            if (links.TrueForAll(static l => l.OpenError is not null))
                ExceptionDispatchInfo.Throw(links[0].OpenError!);
        }
        catch
        {
            // Links close in the background.
            links.ForEach(static l => _ = l.DisposeAsync().AsTask());
            throw;
        }
        Links = links;
    }

    /// <summary>The rails that both sides have, and whether each is up.</summary>
    public IReadOnlyDictionary<string, RmaRailState> Rails => Links.ToDictionary(static l => l.Name, static l => l.Session is null ? RmaRailState.Down : RmaRailState.Up);

    internal RmaMultiRail Owner { get; }

    /// <summary>The id of the peer's multi-rail.</summary>
    internal Guid Id { get; }

    internal IReadOnlyList<RailLink> Links { get; }

    internal bool IsRemoved
    {
        get => _isRemoved;
        set => _isRemoved = value;
    }

    /// <summary>Completes when a link changes its state or returns a place, or the peer is removed. Read it before looking at the links.</summary>
    internal Task Change => Volatile.Read(ref _change).Task;

    internal void NoteChange() =>
        Interlocked.Exchange(ref _change, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();

    /// <summary>Notes bytes that a stripe of a failed rail may still change for some time.</summary>
    internal void NoteDoubtful(Guid memory, long offset, long length)
    {
        TimeProvider time = Owner.Time;
        long until = time.GetTimestamp() + (long)(Owner.Options.LateWriteTime.TotalSeconds * time.TimestampFrequency);
        lock (_gate)
            _doubtful.Add((memory, offset, length, until));
    }

    /// <summary>Waits until no stripe of a failed rail can change these bytes any more.</summary>
    internal async Task SettleAsync(Guid memory, long offset, long length, CancellationToken cancellationToken)
    {
        while (RestOf(memory, offset, length) is { } rest && rest > TimeSpan.Zero)
            await Task.Delay(rest, Owner.Time, cancellationToken).ConfigureAwait(false);
    }

    private TimeSpan? RestOf(Guid memory, long offset, long length)
    {
        long now = Owner.Time.GetTimestamp();
        lock (_gate)
        {
            _doubtful.RemoveAll(d => d.Until <= now);
            long last = _doubtful.Where(d => d.Memory == memory && d.Offset < offset + length && offset < d.Offset + d.Length).Select(static d => d.Until).DefaultIfEmpty(now).Max();
            // At least a millisecond, because timers are no more precise.
            return last == now ? null : TimeSpan.FromMilliseconds(Math.Max(1, Math.Ceiling(Owner.Time.GetElapsedTime(now, last).TotalMilliseconds)));
        }
    }
}
