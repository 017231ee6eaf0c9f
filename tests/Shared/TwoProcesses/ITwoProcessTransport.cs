namespace AllocTools.Testing.TwoProcesses;

/// <summary>A transport between two processes of one machine.</summary>
public interface ITwoProcessTransport
{
    /// <summary>What it can be opened as.</summary>
    static abstract IEnumerable<string> Fabrics { get; }

    /// <summary>Starts the other process, and opens this side.</summary>
    /// <param name="fabric">One of <see cref="Fabrics"/>.</param>
    /// <param name="operationTimeout">How long operations of this side may take, unless that is the default.</param>
    static abstract Task<LocalSide> StartAsync(string fabric, TimeSpan? operationTimeout = null);
}
