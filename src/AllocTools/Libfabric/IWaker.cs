namespace AllocTools.Libfabric;

/// <summary>What the progress loop waits on.</summary>
internal interface IWaker : IDisposable
{
    /// <summary>Ends a wait, or the next one.</summary>
    void Wake();

    /// <summary>Waits until woken, until there is a completion where the waker can tell, or until the time is over.</summary>
    void Wait(TimeSpan longest);
}
