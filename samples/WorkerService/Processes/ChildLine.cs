using WorkerService.Reporting;

namespace WorkerService.Processes;

/// <summary>What a receiver tells the process that started it: one line of JSON, with one of these.</summary>
/// <param name="Ticket">It listens.</param>
/// <param name="Summary">It has the file.</param>
/// <param name="Error">It failed.</param>
internal sealed record ChildLine(string? Ticket = null, TransferSummary? Summary = null, string? Error = null)
{
    /// <summary>What the parent writes to end the child in good order. An end of the pipe without it means that the parent is gone.</summary>
    public const string StopCommand = "stop";
}
