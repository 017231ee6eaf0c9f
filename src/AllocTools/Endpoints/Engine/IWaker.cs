using AllocTools.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>The object on which the progress loop waits.</summary>
internal interface IWaker : IDisposable
{
    /// <summary>Ends a wait, or the next one.</summary>
    void Wake();

    /// <summary>Called before a wait. Any event from now on ends the wait.</summary>
    void Prepare()
    {
    }

    /// <summary>Starts to note the activity of peers, for <see cref="HasRung"/>.</summary>
    void Listen()
    {
    }

    /// <summary>Whether a peer has posted an operation since Listen was called; false if that can't be known.</summary>
    bool HasRung => false;

    /// <summary>Waits until the loop is woken or the time is up.</summary>
    /// <param name="longest">The longest wait.</param>
    /// <param name="forCompletions">Whether the wait also ends when the completion queue's descriptor is readable.</param>
    WaitEnd Wait(TimeSpan longest, bool forCompletions);
}

/// <summary>The reason why a wait ended.</summary>
internal enum WaitEnd
{
    /// <summary>The time is up, or a signal arrived.</summary>
    TimedOut = 0,

    /// <summary>The loop was woken.</summary>
    Woken = 1,

    /// <summary>The completion queue's descriptor is readable.</summary>
    Ready = 2,

    /// <summary>The completion queue's descriptor can't be waited on.</summary>
    Broken = 3,
}

/// <summary>Waits on the completion queue's descriptor and on an event of its own (Linux).</summary>
internal sealed class DescriptorWaker(int queueDescriptor) : IWaker
{
    private readonly int _event = DescriptorWait.CreateEvent();

    public void Wake() => DescriptorWait.Signal(_event);

    public WaitEnd Wait(TimeSpan longest, bool forCompletions)
    {
        (bool isReady, bool isBroken, bool isSignalled) = DescriptorWait.Wait(forCompletions ? queueDescriptor : -1, _event, longest);
        return isBroken ? WaitEnd.Broken : isSignalled ? WaitEnd.Woken : isReady ? WaitEnd.Ready : WaitEnd.TimedOut;
    }

    public void Dispose() => DescriptorWait.Close(_event);
}

/// <summary>Waits only on an event, if descriptors can't be waited on.</summary>
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
