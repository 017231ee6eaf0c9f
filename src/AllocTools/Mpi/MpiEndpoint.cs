using AllocTools.Endpoints;

namespace AllocTools.Mpi;

/// <summary>
/// An endpoint of a rank of an MPI job, for RMA through MPI's window and for messages. It is opened by
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

    /// <summary>The rank of this process in the job: 0 to <see cref="RankCount"/> - 1.</summary>
    public int Rank => _job.Rank;

    /// <summary>The number of ranks in the job.</summary>
    public int RankCount => _job.Size;

    /// <summary>
    /// Exchanges bytes of each rank, such as <see cref="RmaEndpoint.Address"/>, with all ranks through MPI. Every rank
    /// must call this, and all ranks must make several calls in the same order.
    /// </summary>
    /// <param name="own">The bytes of this rank, which the others receive; the lengths may differ.</param>
    /// <param name="cancellationToken">Ends the wait, but not the exchange, which continues until every rank has called this.</param>
    /// <returns>The bytes of each rank, by rank.</returns>
    /// <exception cref="RmaProviderException">MPI has failed.</exception>
    public Task<IReadOnlyList<ReadOnlyMemory<byte>>> ExchangeAsync(ReadOnlyMemory<byte> own, CancellationToken cancellationToken = default) =>
        MpiExchange.RunAsync(_job, own).WaitAsync(cancellationToken);
}
