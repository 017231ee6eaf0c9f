using WorkerService.Transfer;

namespace WorkerService.Reporting;

/// <summary>Tells whoever waits for it what becomes of a transfer.</summary>
internal interface ITransferReport : IProgressSource
{
    /// <summary>A receiver can be reached.</summary>
    void Listening(PeerTicket ticket);

    /// <summary>Something to know that is no failure.</summary>
    void Note(string line);

    /// <summary>The file is there.</summary>
    void Finished(IReadOnlyList<TransferSummary> summaries);

    /// <summary>It isn't. Called once at most.</summary>
    void Failed(Exception exception);
}
