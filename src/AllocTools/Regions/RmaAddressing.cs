namespace AllocTools.Regions;

/// <summary>How a peer addresses a byte of a registration.</summary>
public enum RmaAddressing
{
    /// <summary>By the distance from the start of the registration.</summary>
    Offset = 0,

    /// <summary>By the owner's virtual address (FI_MR_VIRT_ADDR).</summary>
    VirtualAddress = 1,
}
