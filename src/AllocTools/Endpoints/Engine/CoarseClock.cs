namespace AllocTools.Endpoints.Engine;

/// <summary>The clock of deadlines, for an endpoint whose callers make progress: read once in a tick of the system.</summary>
/// <remarks>
/// A turn would read the time twice, and each operation once more; the system's tick count tells for a sixth of that
/// price that hardly any time has passed (performance.md). Where another clock than the system's was given, and for
/// time-outs of less than <see cref="ShortestTimeout"/>, the time is read each time.
/// </remarks>
internal sealed class CoarseClock(TimeProvider time)
{
    /// <summary>
    /// At least as long as a tick: 1 to 10 ms with Linux, 15.6 ms with Windows. Where a virtual machine's ticks stand still
    /// for longer, an operation may time out early by the rest.
    /// </summary>
    private static readonly TimeSpan Resolution = TimeSpan.FromMilliseconds(16);

    private static readonly TimeSpan ShortestTimeout = TimeSpan.FromSeconds(1);

    private readonly bool _hasTicks = ReferenceEquals(time, TimeProvider.System);
    private readonly long _resolution = (long)(Resolution.TotalSeconds * time.TimestampFrequency);
    private long _tick = -1;
    private long _timestamp;

    /// <summary>The timestamp, at most a tick old. The caller must hold the progress turn.</summary>
    public long Now()
    {
        long tick = Environment.TickCount64;
        if (tick != _tick || !_hasTicks)
        {
            // The tick last: whoever sees it sees the timestamp.
            Volatile.Write(ref _timestamp, time.GetTimestamp());
            Volatile.Write(ref _tick, tick);
        }
        return _timestamp;
    }

    /// <summary>When an operation with that time-out starts: now or up to <see cref="Resolution"/> later, so that none ends early. Any thread may call this.</summary>
    public long Start(TimeSpan timeout) =>
        _hasTicks && timeout >= ShortestTimeout && Volatile.Read(ref _tick) == Environment.TickCount64
            ? Volatile.Read(ref _timestamp) + _resolution
            : time.GetTimestamp();
}
