namespace AllocTools.Pooling;

/// <summary>Whether a pool is open, draining or closed, and how long it holds its provider's context.</summary>
/// <remarks>Invariant: each live registration and the pool itself hold the context, which is released with the last of them.</remarks>
internal sealed class PoolLifetime(PoolSettings settings, PoolIncidents incidents, SlabOwners owners)
{
    private const int Open = 0;
    private const int Draining = 1;
    private const int Closed = 2;

    private readonly TaskCompletionSource _drained = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private IDisposable? _context;
    private int _state;
    private int _holders = 1;

    /// <summary>Whether the pool is neither draining nor closed.</summary>
    public bool IsOpen => Volatile.Read(ref _state) == Open;

    public bool IsClosed => Volatile.Read(ref _state) == Closed;

    /// <summary>Ends when nothing is rented any more, or when the pool was closed. See <see cref="NoteDrained"/>.</summary>
    public Task Drained => _drained.Task;

    /// <summary>Holds the context. The pool calls this once its construction can no longer fail.</summary>
    public void HoldContext() => _context = settings.Context.Retain();

    /// <summary>Counts a registration that is about to be made; it holds the context.</summary>
    public void AddHolder() => Interlocked.Increment(ref _holders);

    /// <summary>
    /// Counts off a registration that is gone, or the pool itself when it is closed. The last of them releases the
    /// context.
    /// </summary>
    public void RemoveHolder()
    {
        if (Interlocked.Decrement(ref _holders) == 0)
            incidents.Guard("releasing its context", _context!.Dispose);
    }

    /// <exception cref="ObjectDisposedException">The pool is draining or closed.</exception>
    public void CheckOpen()
    {
        if (Volatile.Read(ref _state) != Open)
            throw NotOpen();
    }

    /// <summary>Checks whether the pool was closed while memory was registered; if so, gives back what was taken.</summary>
    /// <exception cref="ObjectDisposedException">The pool is draining or closed.</exception>
    public bool CheckStillOpen(RmaBuffer taken)
    {
        if (IsOpen)
            return true;
        taken.GiveBack();
        throw NotOpen();
    }

    /// <summary>Creates the error of requests to a pool that is not open.</summary>
    public ObjectDisposedException NotOpen() => new(
        nameof(IRmaMemoryPool), $"The pool '{settings.Name}' is {(IsClosed ? "disposed" : "draining, to be disposed")}: nothing can be rented any more. Stop what rents before the pool is drained or disposed.");

    /// <summary>Makes the pool drain, unless it is draining or closed.</summary>
    /// <param name="wasClosed">Whether it is closed.</param>
    public bool TryBeginDraining(out bool wasClosed)
    {
        int before = Interlocked.CompareExchange(ref _state, Draining, Open);
        wasClosed = before == Closed;
        return before == Open;
    }

    /// <summary>Marks the pool as closed.</summary>
    /// <param name="wasOpen">Whether it was not even draining.</param>
    /// <returns>False if it was closed before.</returns>
    public bool TryClose(out bool wasOpen)
    {
        int before = Interlocked.Exchange(ref _state, Closed);
        wasOpen = before == Open;
        return before != Closed;
    }

    /// <summary>Ends <see cref="Drained"/> if the pool is not open and nothing is rented.</summary>
    public void NoteDrained()
    {
        if (!IsOpen && owners.Rented == 0)
            EndDrain();
    }

    /// <summary>Ends <see cref="Drained"/>, whatever is rented.</summary>
    public void EndDrain() => _drained.TrySetResult();
}
