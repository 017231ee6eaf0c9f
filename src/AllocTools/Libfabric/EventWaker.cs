namespace AllocTools.Libfabric;

/// <summary>Waits on an event only, where descriptors can't be waited on.</summary>
internal sealed class EventWaker : IWaker
{
    private readonly AutoResetEvent _event = new(initialState: false);

    public void Wake() => _event.Set();

    public void Wait(TimeSpan longest) => _event.WaitOne(TimeSpan.FromMilliseconds(Math.Max(1, longest.TotalMilliseconds)));

    public void Dispose() => _event.Dispose();
}
