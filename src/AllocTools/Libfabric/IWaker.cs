namespace AllocTools.Libfabric;

/// <summary>What the progress loop waits on.</summary>
internal interface IWaker : IDisposable
{
    /// <summary>Ends a wait, or the next one.</summary>
    void Wake();

    /// <summary>Waits until woken or until the time is over.</summary>
    /// <param name="longest">How long at the most.</param>
    /// <param name="forCompletions">Until the completion queue's descriptor says that there is one, too.</param>
    /// <returns>False where that descriptor can't be waited on.</returns>
    bool Wait(TimeSpan longest, bool forCompletions);
}
