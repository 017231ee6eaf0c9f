using System.Text.Json;
using WorkerService.Application;
using WorkerService.Processes;
using WorkerService.Transfer;

namespace WorkerService.Reporting;

/// <summary>Reports to the process that started this one: lines of JSON on the standard output.</summary>
internal sealed class ParentReport : ITransferReport
{
    public ITransferProgress StartProgress(string fileName, long length) => NoProgress.Source;

    public void Listening(PeerTicket ticket) => Write(new ChildLine(Ticket: ticket.ToString()));

    public void Note(string line) => Console.Error.WriteLine(line);

    public void Finished(IReadOnlyList<TransferSummary> summaries) => Write(new ChildLine(Summary: summaries[0]));

    public void Failed(Exception exception)
    {
        if (exception is ParentGoneException)
            Console.Error.WriteLine($"error: {ErrorLine.Of(exception)}");
        else
            Write(new ChildLine(Error: ErrorLine.Of(exception)));
    }

    private static void Write(ChildLine line) => Console.Out.WriteLine(JsonSerializer.Serialize(line));
}
