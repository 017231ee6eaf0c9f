using Microsoft.Extensions.Options;

namespace WorkerService.Application;

/// <summary>The rules of <see cref="TransferOptions"/>. All failures at once, each with the option's path.</summary>
internal sealed class TransferOptionsValidator(string section) : IValidateOptions<TransferOptions>
{
    private const int SmallestChunk = 4 << 10;
    private const int LargestChunk = 64 << 20;
    private const int MostInFlight = 256;
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    public ValidateOptionsResult Validate(string? name, TransferOptions options)
    {
        List<string> failures = [];
        if (!Enum.IsDefined(options.Role))
            Add(nameof(options.Role), options.Role, "it must be Both, Receiver, Sender, Load or Drill");
        if (options.ChunkSize is < SmallestChunk or > LargestChunk)
            Add(nameof(options.ChunkSize), options.ChunkSize, $"it must be between {SmallestChunk} and {LargestChunk} bytes");
        if (options.InFlight is < 1 or > MostInFlight)
            Add(nameof(options.InFlight), options.InFlight, $"it must be between 1 and {MostInFlight}");
        CheckTime(nameof(options.Timeout), options.Timeout, TimeSpan.FromHours(1));
        CheckTime(nameof(options.OfferTimeout), options.OfferTimeout, TimeSpan.FromHours(24));
        CheckTime(nameof(options.StartTimeout), options.StartTimeout, TimeSpan.FromHours(1));
        if (options.Role == TransferRole.Sender && string.IsNullOrEmpty(options.Peer))
            failures.Add($"{section}:{nameof(options.Peer)} is not set; a sender needs the ticket that its receiver prints (--peer TICKET).");
        if (options.Role != TransferRole.Sender && !string.IsNullOrEmpty(options.Peer))
            failures.Add($"{section}:{nameof(options.Peer)} is set, but the role is {options.Role}; a ticket is for --role sender.");
        if (options.Role == TransferRole.Receiver && !string.IsNullOrEmpty(options.File))
            failures.Add($"{section}:{nameof(options.File)} is set, but the role is {options.Role}; the sender chooses the file.");
        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);

        void CheckTime(string option, TimeSpan value, TimeSpan longest)
        {
            if (value < Second || value > longest)
                Add(option, value, $"it must be between {Second} and {longest} (hours:minutes:seconds)");
        }

        void Add(string option, object value, string rule) => failures.Add($"{section}:{option} is {value}; {rule}.");
    }
}
