using WorkerService.Transfer;

namespace WorkerService.Processes;

/// <summary>The process that started this one has ended without a word. Nobody listens to reports any more.</summary>
internal sealed class ParentGoneException() : TransferException("The process that started this receiver is gone; nothing was kept.");
