namespace AllocTools.Libfabric;

/// <summary>Waits on an event only, where descriptors can't be waited on.</summary>
internal sealed class EventWaker : IWaker
{
    private readonly AutoResetEvent _event = new(initialState: false);

    public void Wake() => _event.Set();

    public bool Wait(TimeSpan longest, bool forCompletions)
    {
        _event.WaitOne(TimeSpan.FromMilliseconds(Math.Max(1, longest.TotalMilliseconds)));
        return !forCompletions;
    }

    public void Dispose() => _event.Dispose();
}
