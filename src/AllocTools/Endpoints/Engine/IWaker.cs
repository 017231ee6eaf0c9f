using AllocTools.Interop;

namespace AllocTools.Endpoints.Engine;

/// <summary>What the progress loop waits on.</summary>
internal interface IWaker : IDisposable
{
    /// <summary>Ends a wait, or the next one.</summary>
    void Wake();

    /// <summary>Before a wait: what happens from here on ends it.</summary>
    void Prepare()
    {
    }

    /// <summary>Notes what peers do from here on, for <see cref="HasRung"/>.</summary>
    void Listen()
    {
    }

    /// <summary>A peer has posted something since; false where that can't be known.</summary>
    bool HasRung => false;

    /// <summary>Waits until woken or until the time is over.</summary>
    /// <param name="longest">How long at the most.</param>
    /// <param name="forCompletions">Until the completion queue's descriptor says that there is one, too.</param>
    WaitEnd Wait(TimeSpan longest, bool forCompletions);
}

/// <summary>What ended a wait.</summary>
internal enum WaitEnd
{
    /// <summary>The time was over, or a signal came.</summary>
    TimedOut = 0,

    /// <summary>Somebody woke the loop.</summary>
    Woken = 1,

    /// <summary>The completion queue's descriptor says that there is something.</summary>
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
