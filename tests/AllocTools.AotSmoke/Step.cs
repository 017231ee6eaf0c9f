namespace AllocTools.AotSmoke;

/// <summary>Tells how far the run got.</summary>
internal static class Step
{
    public static string Last { get; private set; } = "nothing";

    public static void Done(string what)
    {
        Last = what;
        Console.WriteLine(what);
    }
}
