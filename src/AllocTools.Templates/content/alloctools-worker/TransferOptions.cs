using System.ComponentModel.DataAnnotations;

namespace AllocToolsWorker1;

/// <summary>The section Transfer of appsettings.json.</summary>
internal sealed class TransferOptions
{
    public const string Section = "Transfer";

    /// <summary>The length of a block in bytes. Each block is one write.</summary>
    public const int BlockLength = 1 << 20;
#if (!isHost)

    /// <summary>The address at which the peer listens.</summary>
    [Required]
    public Uri? Peer { get; set; }
#endif

    /// <summary>
    /// The number of blocks that the worker writes; the peer and the worker must agree. The inbox is one buffer of all
    /// blocks, so AllocTools:MaxRegisteredBytes must have room for more than that.
    /// </summary>
    [Range(1, 32)]
    public int Blocks { get; set; } = 8;
}
