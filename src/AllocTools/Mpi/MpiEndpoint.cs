using AllocTools.Endpoints;

namespace AllocTools.Mpi;

/// <summary>
/// An endpoint of a rank of an MPI job: RMA by MPI's window, and messages. Opened by
/// <see cref="Regions.IRmaContext.OpenEndpoint"/>.
/// </summary>
/// <remarks>All members are safe to call from any thread.</remarks>
public sealed class MpiEndpoint : RmaEndpoint
{
    private readonly MpiJob _job;

    internal MpiEndpoint(MpiContext context, MpiJob job, MpiDriver driver, RmaEndpointOptions options)
        : base(context, driver, options)
    {
        _job = job;
    }

    /// <summary>Which rank of the job this process is: 0 to <see cref="RankCount"/> - 1.</summary>
    public int Rank => _job.Rank;

    /// <summary>How many ranks the job has.</summary>
    public int RankCount => _job.Size;

    /// <summary>
    /// Gives every rank something of each rank, such as <see cref="RmaEndpoint.Address"/>, through MPI. Every rank must call it, and
    /// where it is called more than once, in the same order.
    /// </summary>
    /// <param name="own">What the others get of this rank; its length may differ from theirs.</param>
    /// <param name="cancellationToken">Ends the wait, and not the exchange, which goes on until every rank has called this.</param>
    /// <returns>What each rank has given, by rank.</returns>
    /// <exception cref="RmaProviderException">MPI has failed.</exception>
    public Task<IReadOnlyList<ReadOnlyMemory<byte>>> ExchangeAsync(ReadOnlyMemory<byte> own, CancellationToken cancellationToken = default) =>
        MpiExchange.RunAsync(_job, own).WaitAsync(cancellationToken);
}
