namespace AllocTools.Testing.TwoProcesses;

/// <summary>A transport between two processes on one machine.</summary>
public interface ITwoProcessTransport
{
    /// <summary>Gets the fabrics it can be opened on.</summary>
    static abstract IEnumerable<string> Fabrics { get; }

    /// <summary>Starts the other process, and opens this side.</summary>
    /// <param name="fabric">One of <see cref="Fabrics"/>.</param>
    /// <param name="operationTimeout">The time limit of this side's operations; null for the default.</param>
    static abstract Task<LocalSide> StartAsync(string fabric, TimeSpan? operationTimeout = null);
}
