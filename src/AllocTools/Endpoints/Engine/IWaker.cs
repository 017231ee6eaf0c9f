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
