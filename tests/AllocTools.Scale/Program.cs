using System.CommandLine;
using System.Globalization;
using AllocTools.Doctor.Bench;
using AllocTools.Scale;

var max = new Option<int>("--max") { Description = "the size of the largest machine, at least 10", DefaultValueFactory = static _ => 100_000 };
var only = new Option<string?>("--only") { Description = "measure only what has this text in its name" };
var picture = new Option<FileInfo?>("--picture") { Description = "also write a picture", HelpName = "FILE.svg" };
max.Validators.Add(static result =>
{
    if (result.GetValueOrDefault<int>() < 10)
        result.AddError("--max must be at least 10.");
});
var command = new RootCommand("Measures what an operation costs on machines of 10, 100, … of everything: the real pool, endpoint, connections and directory with a simulated clock, memory and transport.") { max, only, picture };
command.SetAction(parsed =>
{
    int[] sizes = [.. Enumerable.Range(1, 9).Select(static p => (int)Math.Pow(10, p)).TakeWhile(n => n <= parsed.GetValue(max))];
    List<Growth> growths = Measuring.Run(
        sizes, TimeSpan.FromMilliseconds(30), parsed.GetValue(only), static (n, name) => Console.Error.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{n:N0}: {name}")));
    if (growths.Count == 0)
    {
        Console.Error.WriteLine($"Nothing that is measured has '{parsed.GetValue(only)}' in its name.");
        return 1;
    }
    GrowthTable.Print(growths, sizes, Console.Out);
    if (parsed.GetValue(picture) is { } file)
        GrowthTable.Draw(growths, file.FullName);
    return 0;
});
return command.Parse(args).Invoke();
