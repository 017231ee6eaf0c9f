namespace AllocTools.Hosting.Tests.Reference;

/// <summary>Formats sizes in their largest whole unit.</summary>
internal static class SizeText
{
    public static string Of(long bytes)
    {
        string[] units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        int unit = 0;
        for (; bytes != 0 && bytes % 1024 == 0; unit++)
            bytes /= 1024;
        return $"{bytes} {units[unit]}";
    }
}
