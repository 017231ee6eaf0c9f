namespace AllocTools.Endpoints.Engine;

/// <summary>Waits on an event only, where descriptors can't be waited on.</summary>
internal sealed class EventWaker : IWaker
{
    private readonly AutoResetEvent _event = new(initialState: false);

    public void Wake() => _event.Set();

    public WaitEnd Wait(TimeSpan longest, bool forCompletions)
    {
        if (forCompletions)
            return WaitEnd.Broken;
        return _event.WaitOne(TimeSpan.FromMilliseconds(Math.Max(1, longest.TotalMilliseconds))) ? WaitEnd.Woken : WaitEnd.TimedOut;
    }

    public void Dispose() => _event.Dispose();
}
